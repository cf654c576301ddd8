"""``dfbench serve``: the public page. ``docs/serve.md`` describes its processes and what they are trusted with."""
