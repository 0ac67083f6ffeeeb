"""A controller driven by hand, measurement after measurement, and the laws that every one of them keeps."""

import json


def run(rule, measurements):
    """The states after each measurement, the first one before any."""
    states = [rule.initial()]
    for count, measurement in enumerate(measurements):
        states.append(rule.update(states[-1], measurement, count))
    return states


def levels(rule, measurements):
    """The level before any measurement and after each."""
    return [rule.level(state) for state in run(rule, measurements)]


def saved_and_read(state):
    """A state as a checkpoint of plain data gives it back."""
    return json.loads(json.dumps(state))


def resumed(rule, measurements, cut):
    """The states of an unbroken run, once a run that goes on from a saved one has come to the same state, and no
    update has changed the state that it was given.
    """
    states = run(rule, measurements)
    state = saved_and_read(states[min(cut, len(measurements))])
    for count, measurement in enumerate(measurements[cut:], cut):
        before = dict(state)
        state = rule.update(state, measurement, count)
        assert rule.update(before, measurement, count) == state
    assert json.dumps(state) == json.dumps(states[-1])
    for one in states:
        rule.check(one)
        rule.check(saved_and_read(one))
        assert rule.accepts(one)
    return states
