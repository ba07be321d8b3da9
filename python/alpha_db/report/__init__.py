"""A report for people who would rather look than query: one HTML file that verifies itself in the browser."""
