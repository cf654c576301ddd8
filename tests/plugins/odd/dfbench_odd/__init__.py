"""A third-party plugin as an author would write it: detectors with unusual training loops."""

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors():
    """Four detectors."""
    return [
        DetectorEntry("odd", "dfbench_odd.detectors:Odd", "pairs, soft labels, warm-up, two optimizers, accumulation"),
        DetectorEntry("opaque", "dfbench_odd.detectors:Opaque", "hands its network to another trainer"),
        DetectorEntry("one_logit", "dfbench_odd.detectors:OneLogit", "a single logit, not lifted"),
        DetectorEntry("mortal", "dfbench_odd.detectors:Mortal", "ends its process in the middle of an experience"),
    ]
