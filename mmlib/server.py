"""JupyterLab's wire to a kernel, without the wait for company.

TCP may hold back a small message until the receiver has confirmed the one before it (Nagle's algorithm), and the
receiver may put its confirmation off for 40 ms. A kernel that answers a slider says "busy" first, then sends the new
picture: together, the two habits cost every move of every slider these 40 ms. `make lab` and `make demo` go without:

    jupyter lab --ServerApp.kernel_websocket_connection_class=mmlib.server.PromptConnection
"""

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """What Jupyter uses, with each message sent at once."""

    def connect(self):
        """Join the browser's socket to the kernel's."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
