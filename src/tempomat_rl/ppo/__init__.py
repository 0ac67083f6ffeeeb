"""Proximal policy optimization: experience on one clock, learning on another, schedules for both."""
