# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How gunicorn serves a release of the shop behind a load balancer."""

wsgi_app = "shop.web:create_app()"
workers = 1
worker_class = "gthread"
threads = 8
# Longer than any balancer keeps an idle connection to a server: the balancer closes first, so that it never
# sends a request into a connection that is just being closed here.
keepalive = 75
timeout = 60
graceful_timeout = 20
# Its default place is one file per user, which several shops of one user would fight over.
control_socket_disable = True
