"""The views of the page: widgets and layout, no computing."""
