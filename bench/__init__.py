"""Side-by-side measurements; each ends with one JSON object on its last line."""
