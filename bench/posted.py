"""What every row posts, and how many of them at a time."""

from typing import Final

MAX_BATCH_MESSAGES: Final = 100
ACCOUNT_SID: Final = "AC00000000000000000000000000000000"
FORM: Final = {
    "To": "whatsapp:+14155550101",
    "From": "whatsapp:+14155550100",
    "Body": "Your order 1234 has left the warehouse and arrives tomorrow between 9 and 12.",
    "StatusCallback": "https://hooks.example.com/twilio/status"
    "?m=0123456789abcdef0123&a=1#rc=5&rp=all",
    "ValidityPeriod": "36000",
}
