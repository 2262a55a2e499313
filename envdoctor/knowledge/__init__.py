"""Knowledge: dated, sourced compatibility facts as JSON, one row a line; each table is loaded when first asked for."""
