"""`mosam report`: scores, figures, sequences and settings of runs as one HTML file that needs nothing else."""

from mosam.commands.report.build import ReportOptions, build_report

__all__ = ["ReportOptions", "build_report"]
