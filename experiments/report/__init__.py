"""Make the page report.html of a run that was kept with --out, also of one that was cut short."""
