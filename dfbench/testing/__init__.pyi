from .checks import CHECKS as CHECKS
from .checks import check_detector as check_detector
from .contract import DetectorContract as DetectorContract
from .outcome import Outcome as Outcome
from .stream import write_stream as write_stream
from .subject import Subject as Subject
