"python -m scvae is the command line, as scvae is."
from scvae.cli import app

app(prog_name="scvae")
