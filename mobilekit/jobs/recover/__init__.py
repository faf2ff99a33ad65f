"""`mobilekit recover`: weights that an inexact rewrite or int8 costs less, trained on pictures without labels."""
