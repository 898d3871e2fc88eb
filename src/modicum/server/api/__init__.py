"""What may be asked of the server: decode, authorise, make an event or answer a query. One file per noun."""
