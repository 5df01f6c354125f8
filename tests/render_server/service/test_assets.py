"""The asset cache keeps files under their content hashes, within its limits."""

import shutil
from pathlib import Path

import pytest
from metasim.hashing import content_hash

from render_server.limits import Limits
from render_server.service.assets import AssetCache, AssetRefused, AssetTooLarge

A, B, C, D = (bytes([i]) * 100 for i in range(4))
LIMITS = Limits(asset_bytes=200, cache_bytes=300)


@pytest.fixture
def cache(tmp_path: Path) -> AssetCache:
    return AssetCache(tmp_path, LIMITS)


def put(cache: AssetCache, data: bytes) -> str:
    name = content_hash(data)
    cache.put(name, data)
    return name


def test_an_asset_is_a_file_named_by_its_hash(cache: AssetCache, tmp_path: Path) -> None:
    name = put(cache, A)
    assert name in cache
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == A
    assert cache.total_bytes == 100


def test_the_least_recently_used_asset_is_removed(cache: AssetCache, tmp_path: Path) -> None:
    a, b, c = (put(cache, data) for data in (A, B, C))
    cache.pin([a])
    cache.unpin([a])  # Used: now `b` is the oldest.
    d = put(cache, D)
    assert {path.name for path in tmp_path.iterdir()} == {a, c, d}
    assert b not in cache
    assert cache.total_bytes == 300


def test_assets_in_use_stay(cache: AssetCache) -> None:
    a, b, c = (put(cache, data) for data in (A, B, C))
    cache.pin([a, b, c])
    with pytest.raises(AssetTooLarge, match="of 100 bytes does not fit: assets in use fill the worker's cache of 300"):
        put(cache, D)
    assert all(name in cache for name in (a, b, c))
    cache.unpin([b])
    put(cache, D)
    assert b not in cache


def test_pins_count(cache: AssetCache) -> None:
    a = put(cache, A)
    cache.pin([a])
    cache.pin([a])
    cache.unpin([a])
    for data in (B, C, D):
        put(cache, data)
    assert a in cache


def test_an_asset_can_be_pinned_before_it_comes(cache: AssetCache) -> None:
    name = content_hash(A)
    cache.pin([name])
    for data in (A, B, C, D):
        put(cache, data)
    assert name in cache


def test_an_asset_above_the_limit_is_refused(cache: AssetCache, tmp_path: Path) -> None:
    with pytest.raises(AssetTooLarge, match="has 201 bytes; this worker takes at most 200"):
        put(cache, bytes(201))
    assert list(tmp_path.iterdir()) == []


def test_an_asset_with_a_wrong_hash_is_refused(cache: AssetCache, tmp_path: Path) -> None:
    with pytest.raises(AssetRefused, match=f"asset.hash is {content_hash(B)}, but the hash of its 100 bytes is"):
        cache.put(content_hash(B), A)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "", "a" * 63, "a" * 64 + "/..", "A" * 64])
def test_a_name_is_never_a_path(cache: AssetCache, tmp_path: Path, name: str) -> None:
    with pytest.raises(AssetRefused, match="it must be 64 lower-case hexadecimal digits"):
        cache.put(name, A)
    assert list(tmp_path.iterdir()) == []


def test_an_asset_whose_file_vanished_is_missing_and_can_be_put_again(cache: AssetCache, tmp_path: Path) -> None:
    a, b = (put(cache, data) for data in (A, B))
    (tmp_path / a).unlink()
    assert (a in cache, b in cache, cache.total_bytes) == (False, True, 100)
    put(cache, A)
    assert (a in cache, cache.total_bytes) == (True, 200)


def test_a_folder_that_vanished_is_created_again(tmp_path: Path) -> None:
    cache = AssetCache(tmp_path / "assets", LIMITS)
    for data in (A, B):
        name = put(cache, data)
        assert (tmp_path / "assets" / name).read_bytes() == data
        shutil.rmtree(tmp_path / "assets")
        assert name not in cache
    assert cache.total_bytes == 0
