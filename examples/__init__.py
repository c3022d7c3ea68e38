"""Sample pictures and the mini models (`examples.mini`) that make everything work offline."""
