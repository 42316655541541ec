"""The wire between JupyterLab and a kernel. What it saves is measured in tests/bench/test_widget_latency.py."""

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from mmlib.server import PromptConnection


def test_small_messages_are_not_held_back(monkeypatch):
    done = []

    class Socket:
        def set_nodelay(self, value):
            done.append(("nodelay", value))

    class Connection(PromptConnection):
        websocket_handler = Socket()

    def join(self):
        done.append("joined")
        return "when it is ready"

    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", join)
    assert Connection.connect(object.__new__(Connection)) == "when it is ready"
    assert done == [("nodelay", True), "joined"]


def test_lab_and_demo_use_it(root):
    for script in ("tools/lab.py", "tools/demo.py"):
        text = (root / script).read_text(encoding="utf-8")
        assert f"kernel_websocket_connection_class={PromptConnection.__module__}.{PromptConnection.__name__}" in text
