"""The pytest suite in which a check is made: its plugin, where it is loaded, is told of every report."""

import sys

from checks.options import PLUGIN
from checks.report.findings import Findings


def tell(report: Findings, *made_of: Findings) -> None:
    """Tell the plugin of a report, in place of those that it was made of."""
    plugin = sys.modules.get(PLUGIN)
    if plugin is not None:
        plugin.hear(report, [*made_of, *report.terms.values()])
