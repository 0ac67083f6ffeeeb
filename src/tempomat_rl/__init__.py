"""Reinforcement learning under schedules: a pipeline built on Tempomat as any user would build one."""
