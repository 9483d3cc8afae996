"""The local stack's mailbox: mails that would be sent, kept in the process and shown at /mailbox."""
