"""Starts a system in a temporary folder, lets the foreign terminal of client.py work on it, and stops it.

    run_foreign.py --irontill PATH
"""

import json

import client
import harness


def main():
    parser = harness.arguments(__doc__.splitlines()[0])
    client.add_identity(parser)
    options = parser.parse_args()

    def work(checks):
        with harness.System(options.irontill) as system:
            options.data, options.host = system.data, system.address
            client.run(options, checks)
            code, output, _ = harness.run_tool(options.irontill, "host", "verify", "--data", system.data, "--json")
            checks.check("the host's books are in order", code == 0 and json.loads(output)["findings"] == [])
            system.stop_and_check_gone(checks)

    harness.main(work)


if __name__ == "__main__":
    main()
