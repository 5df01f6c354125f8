"""The asset cache keeps what it is told, under the names that the content has, within its bounds."""

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


def test_the_least_recently_used_one_goes(cache: AssetCache, tmp_path: Path) -> None:
    a, b, c = (put(cache, data) for data in (A, B, C))
    cache.pin([a])
    cache.unpin([a])  # Used: now `b` is the oldest.
    d = put(cache, D)
    assert {path.name for path in tmp_path.iterdir()} == {a, c, d}
    assert b not in cache
    assert cache.total_bytes == 300


def test_what_is_in_use_stays(cache: AssetCache) -> None:
    a, b, c = (put(cache, data) for data in (A, B, C))
    cache.pin([a, b, c])
    with pytest.raises(AssetTooLarge, match="of 100 bytes does not fit: those in use fill the worker's 300"):
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


def test_too_large(cache: AssetCache, tmp_path: Path) -> None:
    with pytest.raises(AssetTooLarge, match="has 201 bytes; this worker takes 200"):
        put(cache, bytes(201))
    assert list(tmp_path.iterdir()) == []


def test_wrong_hash(cache: AssetCache, tmp_path: Path) -> None:
    with pytest.raises(AssetRefused, match=f"asset.hash is {content_hash(B)}, but the hash of its 100 bytes is"):
        cache.put(content_hash(B), A)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "", "a" * 63, "a" * 64 + "/..", "A" * 64])
def test_a_name_is_never_a_path(cache: AssetCache, tmp_path: Path, name: str) -> None:
    with pytest.raises(AssetRefused, match="it must be 64 lower-case hexadecimal digits"):
        cache.put(name, A)
    assert list(tmp_path.iterdir()) == []
