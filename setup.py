"Everything about the distribution stands in settings.ini, which nbdev reads too."
import shutil
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
readme = here / "README.md"


class build_with_notebooks(build_py):
    "A built package brings its notebooks and their rows along, for `scvae notebook`."
    def run(self):
        super().run()
        if self.editable_mode: return  # a clone has them
        shipped = Path(self.build_lib)/"scvae"/"notebooks"
        shutil.rmtree(shipped, ignore_errors=True)
        patterns = ("*.ipynb", "results/*.*", "images/*")
        for path in (p for pattern in patterns for p in (here/"nbs").glob(pattern)):
            target = shipped/path.relative_to(here/"nbs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


names = ("search", "reports", "jupyter", "dev")
extras = {name: cfg[f"{name}_requirements"].split() for name in names}
extras["all"] = extras["search"] + extras["reports"] + extras["jupyter"]
extras["dev"] += extras["all"]

setup(
    cmdclass={"build_py": build_with_notebooks},
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author=cfg["author"],
    license="Apache-2.0",
    keywords=cfg["keywords"],
    packages=find_packages(include=["scvae", "scvae.*"]),
    package_data={"scvae": ["templates/*"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": cfg["console_scripts"].split()},
)
