"""``dfbench predict``: from anybody's picture or video to an answer that admits doubt."""
