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
    choices: [caddy, envoy, haproxy, health_flag, httpd, nginx, traefik]
    default: haproxy
  address:
    description:
      - Where each balancer is asked and told.
      - With O(provider=haproxy) the path of a C(stats socket) with C(level admin), or C(host:port) of a TCP one
        (IPv6 as C([host]:port)), as seen from the host the module runs on.
      - With O(provider=caddy) the URL of the admin API, such as V(http://127.0.0.1:2019), or the path of its Unix socket.
      - With O(provider=httpd) the URL of the balancer-manager (C(SetHandler balancer-manager)) in the virtual host that has the
        balancers, such as V(https://lb1.example.com/balancer-manager).
      - With O(provider=envoy) the URL of Envoy's admin interface, or its C(host:port). The module runs on Envoy's host, where
        it finds the files with the members through that interface.
      - With O(provider=traefik) the path of the file with the members, one of the dynamic configuration, and behind an C(@) the
        URL of Traefik's API, or its C(host:port), such as V(/etc/traefik/dynamic/shop.yml@127.0.0.1:8080), which is also what
        the API is without an C(@). The module runs on Traefik's host.
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
      - Also bounds one health check with O(health_url), and with O(provider=nginx), O(provider=envoy) and O(provider=traefik) how
        long it may take until a change is in force. Give Traefik more than its C(providersThrottleDuration), 2 s by default.
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
      - Give it with O(provider=traefik), which does not check a member that is out, and sends requests to one that comes back
        before it has checked it.
      - Not used with O(provider=haproxy), which checks its members itself, nor with O(provider=envoy) for a pool with
        C(health_checks).
    type: str
  validate_certs:
    description: Whether the certificate of an https O(health_url), O(address), admin interface or API must be valid.
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
notes:
  - With O(provider=envoy) a pool is a cluster of type EDS whose endpoints come from a file (C(path_config_source)). The file is
    JSON; as JSON is valid YAML, a C(.yaml) file may hold it. V(drain) is C(health_status) C(DRAINING) and V(maint) is
    C(UNHEALTHY), and the file is replaced by a rename, which Envoy watches for. Running requests are not cut.
  - With O(provider=envoy) a member's name is C(member) below C(everup.deploy) in the endpoint's C(filter_metadata), else the
    endpoint's C(hostname), else C(host:port).
  - Envoy sends requests to all members, drained ones included, when less than C(healthy_panic_threshold), by default 50 %, of a
    pool is available. A drain that would bring this about is refused. Set it to 0 where the last member is to be drained.
  - Envoy checks a pool that has had no request yet only each C(no_traffic_interval), 60 s by default. A member that leaves
    V(maint) is checked at once. Requests that run on a member when it goes to V(maint) are not cut, and not counted any more.
  - With O(provider=traefik) a pool is an HTTP service with a C(loadBalancer) in the file. The file is JSON; as JSON is valid
    YAML, a C(.yml) file may hold it, which comments and template actions do not survive. A member that is out is taken from the
    C(servers) and kept in the same file, in C(customRequestHeaders) of a middleware C(everup-<pool>) that no router uses. Members
    have their names there, such as C("web1":"http://192.0.2.11:8080"); a member without one goes by C(host:port).
  - Traefik does not count requests of a member. Sessions are the connections of this host to it, idle ones included, which
    Traefik keeps for C(idleConnTimeout) of its C(serversTransport), 90 s by default. Set it to less than a drain may take, such
    as 2 s.
"""
