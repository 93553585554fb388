import tarfile

import pytest

from p2pd.cli.sample import write_sample


@pytest.mark.parametrize("size", [1, 10_000, 50_000, 3_000_000])
def test_a_sample_has_exactly_its_size(tmp_path, size):
    path = tmp_path / "sample.tar"
    for _ in write_sample(path, size):
        pass
    assert path.stat().st_size == size


def test_a_sample_is_an_archive_of_the_standard_library(tmp_path):
    path = tmp_path / "sample.tar"
    for _ in write_sample(path, 3_000_000):
        pass
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert "abc.py" in names
    assert not any("__pycache__" in name or "site-packages" in name for name in names)
