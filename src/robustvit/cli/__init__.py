"""The command line: every command is a public function, its options and help are its signature and docstring."""
