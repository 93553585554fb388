"""Fuzzes the admin API: every request is answered in JSON, and not with a failure of ours."""

import atheris

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports(include=["p2pd"]):
    from tests.admin_requests import Administrated

if __name__ == "__main__":
    fuzz(Administrated().check, "admin")
