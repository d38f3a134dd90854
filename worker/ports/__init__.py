"""The ports to Redis and Twilio: what a worker and the gateway ask of them.

Each module holds one port and its value types. Every call to a store can be repeated safely after
a lost reply, because the store recognises it by its message id, request id or fence.
"""
