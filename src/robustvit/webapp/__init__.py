"""The app in a browser: photos explained by two models side by side, backgrounds swapped, folders audited."""
