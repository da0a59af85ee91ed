# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journal knows what may be read, also when an answer was lost."""

from lab.load_journal import Journal, Order


def row(**changes):
    return {"id": 1, "customer": 3, "billed_to": 3, "item": "pan", "quantity": 2} | changes


def order(number=1):
    return Order(number, {3}, "pan", 2)


def test_only_what_was_written_matches():
    assert order().mismatch(row(amount_cents=5)) is None
    for change in ({"item": "pot"}, {"quantity": 3}, {"customer": 4}, {"billed_to": 4}, {"id": 2}):
        assert order().mismatch(row(**change)), change
    assert order().mismatch(None)


def test_a_written_order_is_read_back_before_it_may_move():
    journal = Journal(customers=20)
    assert journal.created(order())
    assert journal.take_for_moving() is None
    read = journal.take_for_reading()
    read.pins -= 1
    assert journal.take_for_moving() is read
    assert journal.take_for_moving() is None
    assert journal.take_for_reading() is None


def test_a_move_without_an_answer_allows_both_customers():
    journal = Journal(customers=20)
    one = order()
    journal.created(one)
    journal.take_for_reading().pins -= 1
    journal.perhaps_moved(journal.take_for_moving(), 4)
    assert one.mismatch(row()) is None
    assert one.mismatch(row(customer=4, billed_to=4)) is None
    assert one.mismatch(row(customer=5, billed_to=5))
    assert journal.writes == 1


def test_an_id_given_out_twice_is_noticed():
    journal = Journal(customers=20)
    assert journal.created(order())
    assert not journal.created(order())
