"""What every room needs: errors, files, options, progress, intervals, run folders, verdicts on disk, pictures."""
