"""`alto doctor`: what is wrong with this box, in order of likelihood, each with its fix.

`probes` look at the machine and decide nothing; `checks` decide and touch nothing; `examination` brings them together,
every check with a deadline and none with a traceback.
"""

from appliance.doctor.examination import Context, run_checks
from appliance.doctor.results import Result, Verdict, as_json, exit_code, render

__all__ = ["Context", "Result", "Verdict", "as_json", "exit_code", "render", "run_checks"]
