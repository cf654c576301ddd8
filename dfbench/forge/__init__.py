"""The embedded benchmark's face pack, clips and forgeries.

Portraits of people who do not exist (:mod:`~dfbench.forge.pack`) become short clips
(:mod:`~dfbench.forge.clips`), five forgery families and a held-out one change the inner face, and one pipeline
compresses the pristine and the forged version alike (:mod:`~dfbench.forge.domains`). :mod:`~dfbench.forge.render` puts
these together. The data card is docs/forge5.md. dfbench detects forgeries; it has no command that makes them.
"""
