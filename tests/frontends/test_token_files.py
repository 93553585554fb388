"""Tokens kept in files: what is taken, what is refused, who may read it."""

import stat

import pytest
from twisted.logger import capturedLogs

from p2pd.errors import Invalid
from p2pd.frontends.token_files import admin_token, read_token, read_tokens
from p2pd.roles import Role

TOKEN = b"0123456789abcdef"
ADMIN = b"fedcba9876543210"


def test_reads_a_token(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(b"\n " + TOKEN + b"\r\n")
    path.chmod(0o600)
    with capturedLogs() as logs:
        assert read_token(path) == TOKEN
    assert logs == []


def test_warns_of_a_token_that_all_can_read(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(TOKEN)
    path.chmod(0o644)
    with capturedLogs() as logs:
        read_token(path)
    [event] = logs
    assert "can read" in event["log_format"]
    assert TOKEN.decode() not in str(event)


@pytest.mark.parametrize(
    "token", [b"", b"   \n", b"tiny", b"0123456789 abcdef", b"0123456789\xffabcdef", b"x" * 1025]
)
def test_refuses_a_bad_token(tmp_path, token):
    path = tmp_path / "file"
    path.write_bytes(token)
    path.chmod(0o600)
    with pytest.raises(Invalid, match=r"the token in .* (must have 16|may hold only)"):
        read_token(path)


def test_refuses_a_missing_token_file(tmp_path):
    with pytest.raises(Invalid, match="No such file"):
        read_token(tmp_path / "token")


def test_makes_an_admin_token_once(tmp_path):
    path = tmp_path / "admin-token"
    token = admin_token(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert admin_token(path) == token
    assert list(tmp_path.iterdir()) == [path]
    assert admin_token(tmp_path / "other") != token


def test_takes_an_admin_token_that_is_there(tmp_path):
    path = tmp_path / "admin-token"
    path.touch(0o600)
    path.write_bytes(ADMIN + b"\n")
    assert admin_token(path) == ADMIN
    path.write_bytes(b"short")
    with pytest.raises(Invalid, match="must have 16"):
        admin_token(path)


def test_an_admin_token_that_cannot_be_made(tmp_path):
    with pytest.raises(Invalid, match=r"cannot make the token file .*: No such file"):
        admin_token(tmp_path / "absent" / "admin-token")


def test_an_admin_token_file_that_cannot_be_looked_for_is_told_of(tmp_path):
    with pytest.raises(Invalid, match="cannot make the token file"):
        admin_token(tmp_path / ("x" * 300))


# -- tokens of users


@pytest.fixture
def written(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "tokens"
        path.touch(mode)
        path.chmod(mode)
        path.write_bytes(text)
        return path

    return write


def test_each_line_is_a_token_with_its_role(written):
    text = b"""
# who may use this node
0123456789abcdef
  fedcba9876543210\treader  # the wall display
operator-of-the-night operator\r
an-admin#1-with-a-mark admin
"""
    assert read_tokens(written(text)) == {
        b"0123456789abcdef": Role.ADMIN,
        b"fedcba9876543210": Role.READER,
        b"operator-of-the-night": Role.OPERATOR,
        b"an-admin#1-with-a-mark": Role.ADMIN,
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "there is no token in"),
        (b"# nothing\n\n", "there is no token in"),
        (b"tiny admin", "must have 16"),
        (b"x" * 1025, "must have 16"),
        (b"0123456789abcde\xff", "printable ASCII"),
        (TOKEN + b" owner", "'owner' is no role: the roles are reader, operator, admin"),
        (TOKEN + b" ADMIN", "'ADMIN' is no role"),
        (TOKEN + b" reader admin", "'reader admin' is no role"),
        (TOKEN + b" \xff", "is no role"),
        (TOKEN + b" reader\n" + TOKEN + b" admin", "twice"),
        (b"#" * 65537, "larger than 65536 bytes"),
    ],
)
def test_refuses_bad_tokens(written, text, complaint):
    path = written(text)
    with pytest.raises(Invalid, match=complaint) as refusal:
        read_tokens(path)
    assert str(path) in refusal.value.reason
    assert TOKEN.decode() not in refusal.value.reason


def test_warns_of_tokens_that_all_can_read(written):
    with capturedLogs() as logs:
        read_tokens(written(TOKEN, 0o644))
    [event] = logs
    assert "can read" in event["log_format"]
