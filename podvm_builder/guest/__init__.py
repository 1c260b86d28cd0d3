"""What goes into the image besides packages: contract, units, selftest components."""
