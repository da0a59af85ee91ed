# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which a module finds its load balancers."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  provider:
    description: The kind of load balancer.
    type: str
    choices: [caddy, haproxy, health_flag, httpd, nginx]
    default: haproxy
  address:
    description:
      - Where each balancer is asked and told.
      - With O(provider=haproxy) the path of a C(stats socket) with C(level admin), or C(host:port) of a TCP one
        (IPv6 as C([host]:port)), as seen from the host the module runs on.
      - With O(provider=caddy) the URL of the admin API, such as V(http://127.0.0.1:2019), or the path of its Unix socket.
      - With O(provider=httpd) the URL of the balancer-manager (C(SetHandler balancer-manager)) in the virtual host that has the
        balancers, such as V(https://lb1.example.com/balancer-manager).
      - With O(provider=nginx) the path of the main configuration file, such as V(/etc/nginx/nginx.conf), on the host the
        module runs on. The files that it includes are found through it.
      - With O(provider=health_flag) the path of one file on the member itself, where the module then runs. While the file is
        there the application answers the balancers' health check with C(503).
      - Several addresses are one group, such as a pair with a shared address. They must all answer.
      - Required with each provider.
    type: list
    elements: str
  connect_timeout:
    description:
      - Seconds one command to a balancer may take, from connecting to the end of its answer.
      - Also bounds one health check with O(health_url), and with O(provider=nginx) how long a reload may take to be seen.
    type: float
    default: 5.0
  health_url:
    description:
      - Asked of each member to learn its health, where the balancer does not tell it. V({address}) in it stands for the
        member's C(host:port), such as V(http://{address}/health). A status from 200 to 399 is good.
      - Without it a member counts as healthy on such a balancer.
      - With O(provider=health_flag) it must be an address that does not look at the flag.
      - With O(provider=httpd) it is asked beside what httpd itself knows, which is an error of the last request, and the
        checks of C(mod_proxy_hcheck) where a member has them.
      - Not used with O(provider=haproxy), which checks its members itself.
    type: str
  validate_certs:
    description: Whether the certificate of an https O(health_url) or O(address) must be valid.
    type: bool
    default: true
  listen:
    description:
      - With O(provider=health_flag), where the application listens, as C(host:port) with an IP address or as a port. Its
        connections are the sessions that a drain waits for.
      - Required with O(provider=health_flag).
    type: str
  notice_seconds:
    description:
      - With O(provider=health_flag), how many seconds the balancers take to notice a change, which is their check interval times
        their threshold, and a little more. The module waits that long after each change.
    type: float
    default: 30.0
  url_username:
    description:
      - User that an O(address) with http or https wants (Basic authentication). An O(address) with a user in it is refused,
        because the balancer is named by it in results and messages.
    type: str
  url_password:
    description: Password of O(url_username).
    type: str
  nginx_program:
    description: With O(provider=nginx), the nginx program that tests and reloads the configuration.
    type: path
    default: nginx
"""
