"""The camera against a pinhole camera written anew, and the rule for what counts as visible."""

from dataclasses import replace

import numpy as np
import pytest
from rl.scenes import SLOPE, camera_matrix, hit_box, hit_level, project, random_scene, scene

from tempomat.core.errors import PlanError
from tempomat_rl.envs import textures
from tempomat_rl.envs.camera import PAD_HALF, Camera, Scene, gimbal_quaternion, keypoints
from tempomat_rl.envs.painting import appearance

# The camera turns by quaternions and edge functions, the tests by matrices and rays: a few rounding errors of float64.
ROUNDING = 1e-9


def test_the_pads_centre_is_where_a_pinhole_camera_sees_it():
    many = random_scene(200, 1, turn=0.4)
    found = keypoints(many)
    inside = 0
    for n in range(len(many)):
        x, y, depth = project(many, n, many.pad_position_N3[n])
        if found.visible_N[n] and depth > 0 and max(abs(x), abs(y)) < 1:
            inside += 1
            np.testing.assert_allclose([found.centre_x_N[n], found.centre_y_N[n]], [x, y], rtol=ROUNDING, atol=0)
    assert inside > 100


def test_the_angle_to_the_pad_is_told_whether_or_not_it_is_visible():
    many = random_scene(50, 2, turn=3)
    found = keypoints(many)
    assert 0 < found.visible_N.sum() < 50
    for n in range(50):
        to_pad = many.pad_position_N3[n] - many.position_N3[n]
        cosine = -camera_matrix(many, n)[:, 2] @ to_pad / np.linalg.norm(to_pad)
        np.testing.assert_allclose(np.cos(found.angle_N[n]), cosine, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"pad_position_N3": [0.5, 0, 0.26]}, (0, 1)),
        ({"pad_position_N3": [-0.5, 0, 0.26]}, (0, -1)),
        ({"pad_position_N3": [0, 0.5, 0.26]}, (-1, 0)),
        ({"pad_position_N3": [0, -0.5, 0.26]}, (1, 0)),
        ({"gimbal_pitch_N": 0.3}, (0, -1)),
        ({"pad_position_N3": [0.5, 0, 0.26], "gimbal_yaw_N": np.pi / 2}, (1, 0)),
        ({"pad_position_N3": [0.5, 0, 0.26], "attitude_N4": [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]}, (1, 0)),
        ({"attitude_N4": [np.cos(0.1), 0, np.sin(0.1), 0]}, (0, 1)),
    ],
    ids=["ahead", "behind", "left", "right", "looking ahead", "looking left", "heading left", "nose down"],
)
def test_forward_is_up_and_left_is_left(changed, where):
    found = keypoints(scene(**changed))
    # The other coordinate is 0 but for the rounding of a sine.
    seen = np.round([found.centre_x_N[0], found.centre_y_N[0]], 12)
    assert tuple(np.sign(seen)) == where
    assert (_brightest(Camera().render(scene(**changed))[0]) * where).sum() > 0.1


def _brightest(picture_HW):
    """The middle of what is nearly white, right and up, from -1 to 1."""
    rows, columns = np.nonzero(picture_HW > 225)
    return np.array([columns.mean(), -rows.mean()]) * 2 / len(picture_HW) + (-1, 1)


def test_the_size_is_the_root_of_the_covered_share():
    level = scene(3, position_N3=np.array([[0, 0, 1.26], [0.1, -0.2, 2.26], [0, 0, 0.36]]))
    # From .1 m the pad fills the view.
    expected = [PAD_HALF / SLOPE, PAD_HALF / (2 * SLOPE), 1.0]
    np.testing.assert_allclose(keypoints(level).size_N, expected, rtol=ROUNDING, atol=0)


def test_the_size_of_a_pad_cut_by_the_edge_counts_what_is_in_the_picture():
    many = random_scene(40, 3)
    found = keypoints(many)
    cut = np.flatnonzero(found.visible_N & (found.share_N < 0.95))
    assert len(cut) > 5
    for n in cut:
        point_HW3, ahead_HW = hit_level(many, n, 400, 0.26)
        covered = (ahead_HW & (_beside(many, n, point_HW3).max(axis=-1) < PAD_HALF)).mean()
        # 400 x 400 rays count an area to about a pixel along its outline.
        np.testing.assert_allclose(found.size_N[n] ** 2, covered, rtol=0.08, atol=0)


def _beside(scene, n, point_HW3):
    """How far points are from the pad's middle, along and across it."""
    gap, turn = point_HW3[..., :2] - scene.pad_position_N3[n, :2], scene.pad_heading_N[n]
    return np.abs(gap @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]))


def test_the_share_in_view_is_counted_on_the_pads_own_square_less_the_margin():
    many = random_scene(60, 4)
    found, inner = keypoints(many), np.tan(np.radians(85.7 / 2 - 2)) / SLOPE
    fine = ((np.arange(300) + 0.5) / 150 - 1) * PAD_HALF
    partly = 0
    for n in range(60):
        turn = many.pad_heading_N[n]
        ahead, left = np.meshgrid(fine, fine)
        at = np.stack([ahead * np.cos(turn) - left * np.sin(turn), ahead * np.sin(turn) + left * np.cos(turn)], axis=-1)
        point = np.concatenate([at, np.zeros((300, 300, 1))], axis=-1) + many.pad_position_N3[n] - many.position_N3[n]
        up, left, back = np.moveaxis(point @ camera_matrix(many, n), -1, 0)
        seen = (np.maximum(abs(up), abs(left)) < -back * inner * SLOPE).mean()
        partly += 0.01 < seen < 0.99
        # Squares of 2 mm, counted along two edges at most: three per cent of the share, or of a hundredth.
        assert abs(found.share_N[n] - seen) <= 0.03 * max(seen, 0.01) + 3 / 300
    assert partly > 5


@pytest.mark.parametrize(("along", "sign"), [(0, 1), (0, -1), (1, 1), (1, -1)])
@pytest.mark.parametrize(("share", "visible"), [(0.0013, False), (0.0015, True)])
def test_the_pad_is_visible_from_a_share_of_its_square_on(along, sign, share, visible):
    reach = 2 * np.tan(np.radians(85.7 / 2 - 2))
    pad = np.array([0.0, 0.0, 0.26])
    pad[along] = sign * (reach + PAD_HALF - share * 2 * PAD_HALF)
    found = keypoints(scene(position_N3=[0, 0, 2.26], pad_position_N3=pad))
    np.testing.assert_allclose(found.share_N, share, rtol=1e-6, atol=0)
    assert found.visible_N[0] == visible
    assert (found.size_N[0] > 0) == visible
    # The centre of a pad that is seen by its edge lies beyond the picture, and is held at its edge.
    centre = (found.centre_y_N[0], -found.centre_x_N[0])[along]
    assert centre == (sign if visible else 0)


@pytest.mark.parametrize(
    "changed",
    [{"position_N3": [0, 0, 0.1], "gimbal_pitch_N": np.pi}, {"gimbal_pitch_N": np.pi}],
    ids=["from below", "looking up"],
)
def test_what_cannot_be_seen_is_not_visible(changed):
    found = keypoints(scene(**changed))
    assert not found.visible_N[0]
    assert found.centre_x_N[0] == found.centre_y_N[0] == found.size_N[0] == found.share_N[0] == 0


def test_the_gimbals_quaternion_turns_like_its_two_angles():
    pitch_N, yaw_N = np.random.default_rng(5).uniform(-2, 2, (2, 20))
    for quaternion, pitch, yaw in zip(gimbal_quaternion(pitch_N, yaw_N), pitch_N, yaw_N, strict=True):
        by_quaternion = camera_matrix(scene(attitude_N4=quaternion), 0)
        by_angles = camera_matrix(scene(gimbal_pitch_N=pitch, gimbal_yaw_N=yaw), 0)
        np.testing.assert_allclose(by_quaternion, by_angles, rtol=0, atol=1e-14)  # entries near 0 have no digits


def test_every_pixel_of_the_ground_is_the_texel_that_its_ray_meets():
    low = random_scene(12, 6, turn=0.2, tilt=0.05)
    near = np.concatenate([low.position_N3[:, :2], np.full((12, 1), 0.9)], axis=1)
    away = replace(low, position_N3=near, pad_position_N3=near + np.array([50.0, 50.0, -0.6]))
    pictures, agree = Camera(96).render(away), []
    for n in range(12):
        look = appearance(int(away.texture_N[n]))
        point_HW3, _ = hit_level(away, n, 96, 0.0)
        turn = np.array([[np.cos(look[1]), np.sin(look[1])], [-np.sin(look[1]), np.cos(look[1])]])
        texel = np.floor(point_HW3[..., :2] @ turn / textures.TEXEL + look[2:4]).astype(int) % textures.SIDE
        sharp = textures.grounds()[int(look[0]), : textures.SIDE**2].reshape(textures.SIDE, textures.SIDE)
        agree.append((pictures[n] == sharp[texel[..., 1], texel[..., 0]]).mean())
    # float32 may take the neighbour where a ray meets the edge between two texels, and far rows are coarser.
    assert np.mean(np.array(agree) > 0.97) >= 0.8, agree


def _fields(scene):
    return {name: getattr(scene, name) for name in Scene.__slots__}


def test_every_pixel_of_the_pad_is_what_its_ray_meets():
    many = random_scene(12, 7, turn=0.3, tilt=0.05)
    near = np.concatenate([many.position_N3[:, :2] * 0.2, np.full((12, 1), 0.75)], axis=1)
    close = replace(many, position_N3=near)
    pictures, picture = Camera(96).render(close), textures.pad_picture(textures.PAD_SIDE)
    compared = 0
    for n in range(12):
        point_HW3, ahead_HW = hit_level(close, n, 96, 0.26)
        gap, turn = point_HW3[..., :2] - close.pad_position_N3[n, :2], close.pad_heading_N[n]
        along = (gap @ (np.cos(turn), np.sin(turn)) / PAD_HALF + 1) * textures.PAD_SIDE / 2
        across = (gap @ (-np.sin(turn), np.cos(turn)) / PAD_HALF + 1) * textures.PAD_SIDE / 2
        on = ahead_HW & (np.minimum(along, across) > 0) & (np.maximum(along, across) < textures.PAD_SIDE)
        expected = np.rint(picture[along[on].astype(int), across[on].astype(int)])
        compared += on.sum()
        assert (pictures[n][on] == expected).mean() > 0.99
    assert compared > 10_000


def test_an_object_covers_the_pixels_whose_rays_meet_it_wherever_the_camera_looks():
    dark = random_scene(120, 8, clutter=1, turn=1.2, tilt=0.4)
    dark.clutter_NKC[:, 0, 6] = 20
    bright_NKC = dark.clutter_NKC.copy()
    bright_NKC[:, 0, 6] = 200
    dark = replace(dark, pad_position_N3=dark.pad_position_N3 + np.array([80.0, 0.0, 0.0]))
    pair = dark, replace(dark, clutter_NKC=bright_NKC)
    differ_NHW = np.not_equal(*(Camera().render(one) for one in pair))
    seen = 0
    for n in range(120):
        expected = hit_box(dark, n, 84, dark.clutter_NKC[n, 0])
        seen += expected.sum() > 20
        # A ray that grazes an edge may be counted either way.
        assert (differ_NHW[n] != expected).sum() <= 1 + 0.01 * expected.sum()
    assert seen > 25


@pytest.mark.parametrize("pitch", [-1.2, 0.0, 0.8, np.pi / 2])
def test_what_reaches_from_before_the_camera_to_behind_it_is_drawn_as_far_as_it_is_before_it(pitch):
    under = scene(gimbal_pitch_N=pitch, gimbal_yaw_N=0.3, pad_position_N3=[80, 0, 0.26], clutter_count_N=1)
    under.clutter_NKC[0, 0] = (0.5, 0.2, 0.4, 4.0, 3.0, 0.2, 255, 0)
    expected = hit_box(under, 0, 84, under.clutter_NKC[0, 0])
    patch = under.clutter_NKC.copy()
    patch[0, 0, 6] = 0
    differ = np.not_equal(Camera().render(under)[0], Camera().render(replace(under, clutter_NKC=patch))[0])
    assert expected.sum() > 500
    assert (differ != expected).sum() <= 0.01 * expected.sum()


def test_the_nearer_of_two_objects_hides_the_other():
    both = scene(gimbal_pitch_N=0.9, pad_position_N3=[-9, 0, 0.26], position_N3=[0, 0, 1.0], clutter_count_N=2)
    for order in ((0, 1), (1, 0)):
        for k, (x, shade) in zip(order, ((1.2, 0), (1.9, 255)), strict=True):
            both.clutter_NKC[0, k] = (x, 0, 0, 0.1, 0.3, 0.6, shade, 0)
        picture_HW = Camera().render(both)[0]
        x, y, _ = project(both, 0, (1.2, 0, 0.6))
        assert picture_HW[int((1 - y) * 42), int((1 + x) * 42)] == 0


def test_a_shadow_keeps_half_of_the_ground_under_it():
    bare = scene(pad_position_N3=[9, 0, 0.26])
    cast = scene(pad_position_N3=[9, 0, 0.26], clutter_count_N=1)
    cast.clutter_NKC[0, 0] = (0.3, 0.2, 0.4, 0.2, 0.2, 0.5, 255, 0)
    without, having = (Camera().render(one)[0] for one in (bare, cast))
    changed = (without != having) & ~hit_box(cast, 0, 84, cast.clutter_NKC[0, 0])
    assert changed.sum() > 30
    # A row of pixels along the object's outline may belong to it.
    assert (having[changed] == without[changed] >> 1).mean() > 0.9


def test_round_things_and_flat_patches_are_as_large_as_they_say():
    thing = scene(pad_position_N3=[9, 0, 0.26], clutter_count_N=1)
    for is_round, area in ((0, 4 * 0.3**2), (1, 2 * np.sqrt(2) * 0.3**2)):  # an octagon's corners are at its radius
        thing.clutter_NKC[0, 0] = (0.0, 0.0, 0.3, 0.3, 0.3, 0.0, 255, is_round)
        covered = (Camera(400).render(thing)[0] == 255).mean() * (4 * SLOPE) ** 2
        np.testing.assert_allclose(covered, area, rtol=0.03, atol=0)


def test_rows_of_clutter_beyond_the_count_are_not_seen():
    many = random_scene(4, 9, clutter=6)
    fewer = replace(many, clutter_count_N=np.zeros(4, np.int64))
    none = replace(fewer, clutter_NKC=np.zeros_like(many.clutter_NKC))
    assert (Camera().render(fewer) == Camera().render(none)).all()
    assert (Camera().render(fewer) != Camera().render(many)).any()


def test_ahead_of_the_horizon_there_is_sky():
    picture_HW = Camera().render(scene(gimbal_pitch_N=np.pi / 2, pad_position_N3=[-9, 0, 0.26]))[0]
    assert (np.ptp(picture_HW[:40], axis=1) == 0).all()
    assert picture_HW[:40].min() >= 150 > picture_HW[60:].mean()


def test_far_ground_fades_into_the_sky():
    ahead = scene(gimbal_pitch_N=1.3, pad_position_N3=[-9, 0, 0.26], position_N3=[0, 0, 3.0], texture_N=7)
    picture_HW = Camera().render(ahead)[0].astype(int)
    row_of = [int((1 - project(ahead, 0, (distance, 0, 0))[1]) * 42) for distance in (60, 30, 6)]
    contrast = [picture_HW[row - 1 : row + 2].std() for row in row_of]
    assert contrast[0] < 1 < contrast[1] < contrast[2]


def test_the_same_scene_gives_the_same_bytes_alone_or_in_company():
    many = random_scene(8, 10, clutter=12)
    before = {name: array.copy() for name, array in _fields(many).items()}
    together = Camera().render(many)
    assert (together == Camera().render(many)).all()
    for n in range(8):
        alone = Scene(**{name: array[n : n + 1] for name, array in _fields(many).items()})
        assert (Camera().render(alone)[0] == together[n]).all()
    for name, array in _fields(many).items():
        assert (array == before[name]).all(), name


def test_another_number_is_another_ground():
    pictures = Camera().render(scene(6, texture_N=np.arange(6)))
    assert all((a != b).mean() > 0.5 for i, a in enumerate(pictures) for b in pictures[:i])


def test_a_small_picture_is_the_mean_of_a_fine_one():
    many = random_scene(4, 11, clutter=5)
    fine = Camera(84, samples=1).render(many).reshape(4, 42, 2, 42, 2).sum(axis=(2, 4), dtype=int)
    assert (Camera(42).render(many) == (fine + 2) // 4).all()
    assert Camera(42).samples == 2
    assert Camera(84).samples == 1


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"size": 7}, "`size` must be from 8 to 4096, got 7"),
        ({"size": "84"}, "`size` must be from 8 to 4096, got '84'"),
        ({"fov": 151}, "`fov` must be from 10 to 150, got 151"),
        ({"fov": float("nan")}, "`fov` must be from 10 to 150, got nan"),
        ({"samples": 0}, "`samples` must be from 1 to 8, got 0"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(wrong, match):
    with pytest.raises(PlanError, match=match):
        Camera(**wrong)
