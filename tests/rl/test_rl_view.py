"""The view from beside: everything is in it, and nothing of it depends on chance."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from rl.scenes import random_scene, scene

from tempomat.core.errors import MissingExtra
from tempomat_rl.envs import view
from tempomat_rl.envs.canvas import FINE, Canvas


def test_a_view_is_bytes_of_the_size_asked_for_and_always_the_same():
    many = random_scene(2, 1, clutter=8)
    first = view.draw(many, 1, size=(320, 180))
    assert first.shape == (180, 320, 3)
    assert first.dtype == np.uint8
    assert (first == view.draw(many, 1, size=(320, 180))).all()
    assert (first == view.draw(many, -1, size=(320, 180))).all()
    assert (first != view.draw(many, 0, size=(320, 180))).any()


@pytest.mark.parametrize("index", [2, -3])
def test_a_drone_that_there_is_not_is_refused(index):
    with pytest.raises(IndexError, match=f"`env_index` must be below 2, got {index}"):
        view.draw(scene(2), index)


@pytest.mark.parametrize("height", [0.3, 2.0, 6.0])
def test_drone_and_pad_are_both_in_the_picture(height):
    one = scene(position_N3=[0.3, -0.2, height])
    picture = view.draw(one, size=(480, 270)).astype(int)
    red, green, blue = np.moveaxis(picture, -1, 0)
    orange = (red > 180) & (green < 130) & (blue < 90)
    white = (picture[:, :340] > 225).all(axis=-1)  # the camera's own picture in the corner shows the pad, too
    assert orange.sum() > 3
    assert white.sum() > 20
    assert np.nonzero(orange)[0].mean() < np.nonzero(white)[0].mean() + 20


def test_the_camera_picture_is_shown_in_the_corner():
    one, picture = scene(), np.full((42, 42), 200, np.uint8)
    shown = view.draw(one, size=(480, 270), picture=picture)
    # Its upper rows; the mark on the pad is drawn over its middle.
    assert (shown[175:190, 385:460] == 200).all()
    assert not (view.draw(one, size=(480, 270))[175:190, 385:460] == 200).any(axis=-1).all()


def test_words_are_written_where_there_are_any():
    one = scene()
    plain = view.draw(one, size=(480, 270))
    titled = view.draw(one, size=(480, 270), title="S4_full", lines=["return 12.0"])
    differ = (plain != titled).any(axis=-1)
    assert differ[10:38, 12:55].mean() > 0.9
    assert not differ[60:].any()


def test_a_trail_shows_where_they_have_been_and_begins_anew_with_the_episode():
    trail = view.Trail(most=3)
    for step in range(5):
        one = scene(position_N3=[0.2 * step, 0, 2.0], pad_position_N3=[0.1 * step, 0, 0.26])
        shown = view.draw(one, size=(320, 180), trail=trail)
    assert [round(float(at[0]), 9) for at in trail.drone] == [0.4, 0.6, 0.8]
    assert [round(at[0], 9) for at in trail.pad] == [0.2, 0.3, 0.4]
    assert (shown != view.draw(one, size=(320, 180))).any()
    another = replace(one, texture_N=one.texture_N + 1)
    assert (view.draw(another, size=(320, 180), trail=trail) == view.draw(another, size=(320, 180))).all()
    assert len(trail.drone) == len(trail.pad) == 1


def test_what_is_painted_later_covers_by_its_opacity():
    canvas = Canvas(80, 60, (0, -5, 1), (0, 0, 1), 60)
    canvas.image_HW3[:] = 0
    canvas.polygon([(-9, 2, -9), (9, 2, -9), (9, 2, 9), (-9, 2, 9)], (10, 20, 30))
    canvas.polygon([(-1, 1, 0), (1, 1, 0), (1, 1, 2), (-1, 1, 2)], (200, 100, 50), 0.5)
    picture = canvas.finished()
    assert picture.shape == (60, 80, 3)
    assert picture[30, 40].tolist() == [105, 60, 40]
    assert picture[2, 2].tolist() == [10, 20, 30]
    assert canvas.image_HW3.shape == (60 * FINE, 80 * FINE, 3)


def test_what_is_behind_the_eye_is_not_drawn():
    canvas = Canvas(80, 60, (0, -5, 1), (0, 0, 1), 60)
    canvas.image_HW3[:] = 7
    canvas.polygon([(-1, -9, 0), (1, -9, 0), (1, -9, 2), (-1, -9, 2)], (200, 100, 50))
    canvas.line((0, -9, 1), (0, -8, 2), (200, 100, 50), 3)
    assert (canvas.finished() == 7).all()


def test_a_line_is_as_wide_as_it_says_at_any_distance():
    for depth in (1.0, 10.0):
        canvas = Canvas(80, 60, (0, 0, 0), (0, 1, 0), 60)
        canvas.image_HW3[:] = 0
        canvas.line((-9, depth, 0), (9, depth, 0), (250, 250, 250), 4)
        # A mean over the picture's two-fold sampling: half a pixel at either side.
        np.testing.assert_allclose(canvas.finished()[:, 40, 0].sum() / 250, 4, rtol=0.15, atol=0)


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tempomat\[rl\]'"):
        view.draw(scene(), size=(160, 90))
