"""Routes beside the page. No answer is decided here that another front would have to repeat."""
