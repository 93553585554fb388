"""Builds the compiled twin of the announce doors, if there is a C compiler; see setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "p2pd.frontends._compiled",
            ["p2pd/frontends/_compiled.pyx"],
            extra_compile_args=["-O2", "-g0"],
            optional=True,  # without it, announces are answered in pure Python
        )
    ]
)
