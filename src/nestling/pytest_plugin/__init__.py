"""Ring 3: the pytest plugin.

==============================  ==================================================================
fixture ``nestling_record``     the `Trace` of all that the test runs
marker ``nestling_certify``     the test is repeated, with a fault at each point where one can
                                strike: see `certify`
option ``nestling_leak_check``  every test, not only those that use the above, fails if it leaves
                                nodes or tasks behind
==============================  ==================================================================

pytest loads a plugin in every run of every environment that has nestling. So what it loads,
``_nestling_pytest_plugin``, stands beside this package and imports pytest alone; the hooks here are
added only where a test, or the option, asks for them.
"""
