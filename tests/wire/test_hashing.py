"""Content hashes name content and nothing else."""

import pytest
from metasim.hashing import content_hash, is_content_hash


def test_hash_is_sha256_in_lower_case() -> None:
    assert content_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert is_content_hash(content_hash(b""))


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n", "/" + "a" * 63, "٣" * 64]
)
def test_what_is_no_hash(text: str) -> None:
    assert not is_content_hash(text)
