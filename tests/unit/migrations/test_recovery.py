"""Where a script goes on, as far as no server is needed for it."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.mysql import MariadbEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import split
from ansible_collections.everup.deploy.plugins.module_utils._db.script import Directives, Script
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.recovery import session_statements


@pytest.mark.parametrize("phase", ["expand", "contract"])
def test_what_ended_with_its_session_names_the_option_of_its_phase(phase):
    source, text = f"{phase}/1_x.sql", "SELECT 1 INTO @a;\nDELETE FROM t WHERE b = @a"
    script = Script(source, text, "", Directives(), tuple(split(text, MariadbEngine.lexis, source)))
    with pytest.raises(EverupError, match=rf"repair=retry \(of the playbooks: -e {phase}_repair=retry\)\.$"):
        session_statements(object.__new__(MariadbEngine), script, 1, phase)
