"""Files are written whole or not at all, also by several at once."""

import os
import threading

import pytest

from mmlib.atomic import atomic_write


def test_a_new_file_and_its_folder(tmp_path):
    with atomic_write(tmp_path / "new" / "file") as unfinished:
        unfinished.write_text("all of it")
        assert not (tmp_path / "new" / "file").exists()
    assert (tmp_path / "new" / "file").read_text() == "all of it" and len(os.listdir(tmp_path / "new")) == 1


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "file") as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_the_file_can_be_read_by_whom_any_new_file_can(tmp_path):
    with atomic_write(tmp_path / "ours") as unfinished:
        unfinished.write_text("x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_several_write_one_file_at_once(tmp_path):
    texts, failed = [letter * 10_000 for letter in "abc"], []

    def write(text):
        try:
            for _ in range(30):
                with atomic_write(tmp_path / "file") as unfinished:
                    unfinished.write_text(text)
                assert (tmp_path / "file").read_text() in texts
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failed and os.listdir(tmp_path) == ["file"]
