"""Code that every room uses: errors, files, options, progress, intervals, run folders, saved verdicts, pictures."""
