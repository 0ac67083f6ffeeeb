"""Films appear whole or not at all."""

import subprocess
import sys

import numpy as np
import pytest

from tempomat.core.errors import MissingExtra, RecordError
from tempomat_rl.video import VideoWriter, write_video

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def frames(count=5, size=(48, 64)):
    return [np.full((*size, 3), 40 * k, np.uint8) for k in range(count)]


def read_back(path):
    """What ffmpeg says of a film, and its frames."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, check=True, capture_output=True)
    return done.stderr.decode(), np.frombuffer(done.stdout, np.uint8).reshape(-1, 48, 64, 3)


def test_a_film_holds_the_frames_in_order_at_its_speed(tmp_path):
    path = write_video(tmp_path / "film.mp4", frames(), fps=6)
    told, seen = read_back(path)
    assert "64x48" in told
    assert ", 6 fps" in told
    assert len(seen) == 5
    for k, frame in enumerate(seen):
        np.testing.assert_allclose(frame.mean(), 40 * k, rtol=0.05, atol=4)  # a lossy format; black is 0 to 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


def test_an_old_film_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path, fps=6) as film:
        for frame in frames():
            film.add(frame)
        assert path.read_bytes() == b"old"
    assert film.frames == 5
    assert len(read_back(path)[1]) == 5


def test_after_an_error_the_old_film_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")

    def broken():
        yield from frames(3)
        raise KeyError("the drone is gone")

    with pytest.raises(KeyError, match="the drone is gone"):
        write_video(path, broken(), fps=6)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (np.zeros((48, 64), np.uint8), r"a frame is \(H, W, 3\) bytes, got \(48, 64\) of uint8"),
        (np.zeros((48, 64, 3)), r"a frame is \(H, W, 3\) bytes, got \(48, 64, 3\) of float64"),
        (np.zeros((47, 64, 3), np.uint8), r"must be even, got \(47, 64\)"),
        (np.zeros((48, 63, 3), np.uint8), r"must be even, got \(48, 63\)"),
        (np.zeros((50, 64, 3), np.uint8), r"frames are \(48, 64, 3\), got one that is \(50, 64, 3\)"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(tmp_path, wrong, match):
    with pytest.raises(RecordError, match=match):
        write_video(tmp_path / "film.mp4", [*frames(1), wrong], fps=6)
    assert list(tmp_path.iterdir()) == []


def test_a_film_without_frames_is_refused(tmp_path):
    with pytest.raises(RecordError, match="needs a frame at least"):
        write_video(tmp_path / "film.mp4", [], fps=6)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_film_has_a_speed(tmp_path, fps):
    with pytest.raises(RecordError, match="`fps` must be above 0, got"):
        VideoWriter(tmp_path / "film.mp4", fps=fps)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"there is no folder .*missing"):
        VideoWriter(tmp_path / "missing" / "film.mp4", fps=6)


def test_a_finished_film_takes_no_more_frames(tmp_path):
    film = VideoWriter(tmp_path / "film.mp4", fps=6)
    film.add(frames(1)[0])
    film.close()
    film.close()
    with pytest.raises(RecordError, match="the film is finished"):
        film.add(frames(1)[0])


def test_without_ffmpeg_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tempomat\[rl\]'"):
        VideoWriter(tmp_path / "film.mp4", fps=6)
