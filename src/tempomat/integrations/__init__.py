"""One file per host. Importing this imports none of them."""
