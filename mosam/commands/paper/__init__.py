"""`mosam paper`: published tables beside our own numbers, with a verdict on each.

`experiments/paper/` has an experiment file (`mosam.commands.experiment.study`) for each published table, and
`published.csv` with the numbers; both ship as data of the package `mosam.commands.published`. For each number its run
is looked up, made if it is missing and the data are there, scored, and compared. What cannot be run names exactly what
is missing.
"""
