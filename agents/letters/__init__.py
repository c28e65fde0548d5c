"""Letters: a supplier and a template in; words, a MIME message, its signature and the mail server's answer out.

May touch the mail server and nothing else.
"""
