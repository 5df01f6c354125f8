import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from trainer.features.appearance import unchanged
from trainer.features.descent import Course
from trainer.inference.estimator import Estimator
from trainer.inference.objects import objects_of
from trainer.inference.posterior import Layout, Posterior
from trainer.inference.renders import Renders
from trainer.inference.trunk import RAREST, Trunk
from trainer.inference.variables import Factor, Number, Variables

ANGLE = Number("yaw", "deg", -180.0, 180.0, True, 0.0, 10.0)
PLACE = Number("x", "px", -10.0, 10.0, False, 0.0, 1.0)
LAYOUT = Layout((Variables("thing", (ANGLE, PLACE), (Factor("class", ("a", "b"), False, (0.5, 0.5)),)),))


def posterior(second: float = -1.0) -> Posterior:
    precision = torch.tensor([[[2.0, 0.0], [-1.0, 4.0]], [[1.0, 0.0], [0.5, 3.0]]])[None]
    return Posterior(
        torch.tensor([[0.3, 0.7]]).log(),
        torch.tensor([[[3.0, 0.2], [second, -0.5]]]),
        precision,
        (torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log(),),
    )


def test_density_equals_an_independent_one_also_across_the_seam_of_the_circle():
    at = np.array([-3.1, 0.3])
    wanted = 0.0
    for k, (weight, frequency) in enumerate([(0.3, 0.1), (0.7, 0.8)]):
        a = posterior().precision[0, k].numpy().astype(float)
        mean = posterior().means[0, k].numpy().astype(float)
        turned = at + np.array([2 * np.pi, 0]) if k == 0 else at  # -3.1 is nearer to 3.0 that way
        wanted += weight * frequency * multivariate_normal(mean, np.linalg.inv(a.T @ a)).pdf(turned)
    found = posterior().log_prob(LAYOUT.angles, torch.tensor(at[None]).float(), torch.tensor([[1]]))
    assert found.item() == pytest.approx(np.log(wanted), abs=1e-4)


def test_samples_have_the_moments_of_the_density():
    numbers, categories = posterior(second=-9.0).sample(40000, torch.Generator().manual_seed(0))
    first = numbers[0, :, 0] > -2.0  # The components are far apart in the angle
    assert first.float().mean().item() == pytest.approx(0.3, abs=0.02)
    a = posterior().precision[0, 0]
    wanted = torch.linalg.inv(a.T @ a)
    assert torch.allclose(torch.cov(numbers[0, first].T), wanted, atol=0.02)
    assert (categories[0, first, 0] == 0).float().mean().item() == pytest.approx(0.9, abs=0.05)


def bars(count: int, rng: np.random.Generator) -> Renders:
    """A bright column at x, of one of two widths; the yaw cannot be seen."""
    x, yaw, kind = rng.uniform(-10, 10, count), rng.uniform(-180, 180, count), rng.integers(2, size=count)
    columns = np.arange(32)[None] - 15.5 - 1.4 * x[:, None]
    shape = np.exp(-((columns / (2 + 2 * kind[:, None])) ** 2))
    noisy = 200 * np.repeat(shape[:, None], 32, 1) + rng.normal(20, 8, (count, 32, 32))
    images = np.repeat(np.clip(noisy, 0, 255)[..., None], 3, 3).astype(np.uint8)
    kept = np.arange(count) % 4 == 0
    presence = np.full((count, 1, 4, 4), 255, dtype=np.uint8)
    return Renders(images, np.stack([yaw, x], 1), kind[:, None], kept, presence, objects_of([], [], []))


@pytest.fixture(scope="module")
def trained() -> Estimator:
    torch.set_num_threads(1)
    estimator = Estimator(LAYOUT, (32, 32), torch.Generator().manual_seed(0))
    renders = bars(1200, np.random.default_rng(0))
    estimator.fit(renders, Course(20, 32, 3e-3), torch.Generator().manual_seed(1), unchanged)
    kept = renders.of(np.flatnonzero(renders.kept_back))
    estimator.calibrate(kept, unchanged, np.random.default_rng(1))
    return estimator


def test_it_reads_what_is_seen_and_its_intervals_cover_the_truth(trained: Estimator):
    fresh = bars(600, np.random.default_rng(2))
    numbers, categories = trained.sample(fresh.images, 200, torch.Generator().manual_seed(2))
    x = numbers[..., 1]
    assert np.abs(np.median(x, 1) - fresh.numbers[:, 1]).mean() < 1.0
    ranks = (x < fresh.numbers[:, 1:2]).mean(1)  # Uniform, if calibrated (Talts et al., 2018)
    assert ((ranks > 0.05) & (ranks < 0.95)).mean() == pytest.approx(0.9, abs=0.08)
    assert ((ranks > 0.25) & (ranks < 0.75)).mean() == pytest.approx(0.5, abs=0.12)
    yaw = numbers[..., 0].ravel()
    assert abs(np.exp(1j * np.deg2rad(yaw)).mean()) < 0.2, "the yaw cannot be seen"
    assert (categories[..., 0] == fresh.categories).mean() > 0.9


def test_it_survives_being_kept(trained: Estimator):
    again = Estimator.restored(trained.plan(), trained.state_dict())
    images = torch.rand(3, 3, 32, 32)
    assert torch.equal(again(images), trained(images))
    assert again(images).shape == (3, 4 + 1 + 2)


def test_kinds_that_look_alike_are_found_where_each_of_them_stands():
    trunk = Trunk((64, 64), 3, torch.Generator().manual_seed(0))
    presence = torch.zeros(40, 3, 8, 8, dtype=torch.uint8)
    presence[:30, 0, 2, 1] = 255
    presence[:, 1, 5, 6] = 128
    trunk.expect(presence)
    usual = trunk.usual.detach().sigmoid()
    assert usual[0, 2, 1].item() == pytest.approx(0.75)
    assert usual[1, 5, 6].item() == pytest.approx(128 / 255)
    assert usual[0, 5, 6].item() == pytest.approx(RAREST)
    assert (usual[2] == 0.5).all(), "what is never seen, such as a camera, is read off the whole image"
    _, seen = trunk(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    for kind, place in ((0, (2, 1)), (1, (5, 6))):
        assert [divmod(int(cells.argmax()), 8) for cells in seen[:, kind]] == [place, place]
